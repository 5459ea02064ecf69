<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="Symbology">
 <renderer-v2 type="categorizedSymbol" attr="if(&quot;change&quot; = 'newly-assessed' and &quot;damaged_after&quot;, 'newly-assessed-damaged', &quot;change&quot;)" enableorderby="0" forceraster="0">
  <categories>
   <category value="newly-damaged" symbol="0" label="Newly damaged" render="true" type="string" />
   <category value="no-longer-damaged" symbol="1" label="No longer damaged" render="true" type="string" />
   <category value="other-grade" symbol="2" label="Other grade" render="true" type="string" />
   <category value="newly-assessed-damaged" symbol="3" label="Newly assessed, damaged" render="true" type="string" />
   <category value="newly-assessed" symbol="4" label="Newly assessed" render="true" type="string" />
   <category value="no-longer-assessed" symbol="5" label="No longer assessed" render="true" type="string" />
   <category value="unchanged" symbol="6" label="Unchanged" render="true" type="string" />
   <category value="not-assessed" symbol="7" label="Assessed by neither" render="true" type="string" />
  </categories>
  <symbols>
   <symbol type="fill" name="0" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="196,48,79,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="1" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="43,131,186,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="2" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="245,220,74,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="3" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="232,125,18,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="4" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="158,202,225,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="5" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="84,71,138,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="6" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="223,227,230,200" />
      <Option type="QString" name="style" value="solid" />
      <Option type="QString" name="outline_color" value="40,40,40,255" />
      <Option type="QString" name="outline_style" value="solid" />
      <Option type="QString" name="outline_width" value="0.2" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
   <symbol type="fill" name="7" alpha="1" clip_to_extent="1">
    <layer class="SimpleFill" pass="0" locked="0" enabled="1">
     <Option type="Map">
      <Option type="QString" name="color" value="127,138,143,0" />
      <Option type="QString" name="style" value="no" />
      <Option type="QString" name="outline_color" value="127,138,143,255" />
      <Option type="QString" name="outline_style" value="dash" />
      <Option type="QString" name="outline_width" value="0.4" />
      <Option type="QString" name="outline_width_unit" value="MM" />
     </Option>
    </layer>
   </symbol>
  </symbols>
 </renderer-v2>
 <layerGeometryType>2</layerGeometryType>
</qgis>
